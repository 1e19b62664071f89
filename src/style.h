/*
 * style.h (layer 0): the style sheet of the audit's report.
 */
#ifndef PROVCONN_STYLE_H
#define PROVCONN_STYLE_H

/* Holds no "<" and no "&": it stands in HTML that is XML as well. */
extern const char provconn_style[];

#endif							/* PROVCONN_STYLE_H */
