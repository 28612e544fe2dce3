"""Find the fastest file and runtime for this device within an accuracy budget.

tune        the library call: measure, choose, write the file and the report
settings    what is asked for: data, budget, runtimes
variants    the files that are tried (precisions, calibrations) and how each is made
candidate_worker   the child process that measures one file in one runtime
race        the order of measurements, and what is not measured any more
choice      what the budget permits, the Pareto front, the choice
result      the typed result, its JSON, and resuming an interrupted call
table, report   the result as text and as an HTML page
"""
