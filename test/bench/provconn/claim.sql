SELECT * FROM provconn_claim_due('bench', '1 hour', 100);
