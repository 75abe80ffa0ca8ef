"""Talking to any LLM behind the OpenAI protocol: bought once, never over the cap.

May import `artifacts`; knows nothing of records or medicine.
Begin at `client.py` (`Client.complete`), then `request.py` and `settings.py`.
"""
