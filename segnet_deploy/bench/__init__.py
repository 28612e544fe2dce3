"""Measure latency, memory and energy of a model, and compare several.

run_model      one model in this process; run_table: its result as text
comparison/    several networks, each in a separate process
result         the typed result of both, and its JSON (json_decode)
report/        HTML and Markdown from a result
timing         warm-up, samples, statistics; warnings: what makes them unreliable
stages, memory, layer_profile   what is measured
graph_cost, roofline   multiply-adds of a file, and the ceilings of this CPU
paper          figures of the SegNet paper
"""
