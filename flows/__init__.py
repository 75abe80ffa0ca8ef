"""The flows: generate_data, train_model, evaluate_model, build_model, one file each.

May import tasks and what stands below; a flow knows the order of steps, not their details.
Begin at `build_model.py`.
"""
