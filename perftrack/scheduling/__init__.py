"""Who starts recording: what is there already, and a schedule of perftrack's own, by what the system has for it.

One module per mechanism, each with the functions of `plan.Mechanism`. Not SQLAlchemy: `record` imports from here.
"""
