"""Attacks on vidstyle as a hostile user would try them: one module for each group, judged only from outside."""
