"""Strategies for what may travel: any JSON value, any payload."""

import hypothesis.strategies as st

text = st.text(st.characters(exclude_categories=["Cs"]))
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=6
)
payloads = st.dictionaries(text, values, max_size=3)
