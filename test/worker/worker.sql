-- A refresh worker in plain SQL, for OAuth 2 providers: a copy to be adapted.
--
--   CALL refresh_worker(worker => 'w1', provider => 'app.ask_provider'::regproc, rounds => 100);
--
-- provider is a function (slug text, credential text) RETURNS text that sends the
-- credential's refresh token to the provider and returns the JSON text that came
-- back, a token response or an OAuth 2 error; it raises an error when none came.
-- Any number of workers may run at once, each as a role with the capability
-- "worker".  A call ends after so many rounds, or when nothing is due; have it
-- repeated by cron or the like, and not inside a transaction: it commits.
CREATE PROCEDURE refresh_worker(
    worker text, provider regproc, rounds integer DEFAULT 1,
    max_connections integer DEFAULT 100, lease_for interval DEFAULT '2 minutes')
LANGUAGE plpgsql AS $$
DECLARE
    claims provconn_claimed[];
    claim provconn_claimed;
    answer text;
    problem text;
    fresh provconn_credentials;
    result provconn_result;
BEGIN
    FOR round IN 1 .. rounds LOOP
        -- An array stays in memory; a cursor that outlives its transaction might
        -- put the secrets into a temporary file.
        claims := ARRAY(SELECT c FROM provconn_claim_due(
            worker, max_connections => max_connections, lease_for => lease_for) AS c);
        COMMIT; -- from here on the claims are ours, and no lock is held
        EXIT WHEN cardinality(claims) = 0;

        FOREACH claim IN ARRAY claims LOOP
            -- Not begun in time: somebody else may have it by now.
            CONTINUE WHEN clock_timestamp() >= claim.leased_until;
            answer := NULL;
            BEGIN
                -- auto_explain may log what EXECUTE hands over, if it logs nested
                -- statements; not so with answer := app.ask_provider(...).
                EXECUTE format('SELECT %s($1, $2)', provider)
                    INTO answer USING claim.provider_slug, claim.secret_text;
                problem := CASE WHEN answer IS NULL THEN 'no answer' ELSE answer::json ->> 'error' END;
                IF problem IS NULL THEN
                    fresh := provconn_token_response(answer);
                END IF;
            EXCEPTION WHEN OTHERS THEN
                problem := 'SQLSTATE ' || SQLSTATE; -- the message may show the credential
            END;

            -- At once, and each on its own: what the provider has changed is not
            -- lost with this session.  A refusal (lease_lost) is in the audit.
            IF problem IS NULL THEN
                result := provconn_refresh(provconn_refresh_command(claim.connection_id, fresh), claim.lease);
            ELSE
                result := provconn_report_failure(claim.connection_id, claim.lease, problem, problem = 'invalid_grant');
            END IF;
            COMMIT;
        END LOOP;
    END LOOP;
END
$$;
