"""Serving a model: chat page, OpenAI-compatible API, RAG, batch prediction, on `engines`.

May import engines, judging, endpoints, validation and artifacts; never Prefect.
Nothing lives here yet: the factory's chain ends at the report.
"""
