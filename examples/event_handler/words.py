"""Counts the words of a text: an event handler that runs unchanged here, on AWS Lambda and on Alibaba FC.

    runner deploy examples/event_handler --handler words:handler --name words
    runner invoke words '{"text": "a rose is a rose"}'

call_lambda.py and call_fc.py deploy and call it with the clients of either cloud.
"""

import json
from collections import Counter

WORDS_TO_SKIP = frozenset({"a", "an", "and", "is", "of", "the", "to"})  # made once, in the template


def handler(event, context):
    """The most frequent words of event["text"], or of what a timer's event carries."""
    if isinstance(event, bytes):  # what FC hands over
        event = json.loads(event)
    text = event.get("detail", event)["text"]
    words = [word for word in text.lower().split() if word not in WORDS_TO_SKIP]
    print(f"{len(words)} words, {context.get_remaining_time_in_millis() / 1000:.0f} s left")
    return {"words": dict(Counter(words).most_common(3)), "version": context.function_version}
