"""The tests: a folder a package, a file a module; names are sentences.

May import everything. `fake_llm.py` is the LLM server that speaks the real protocol.
Begin at `test_architecture.py`.
"""
