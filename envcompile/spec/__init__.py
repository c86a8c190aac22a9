"""The front end: text -> Spec. What is asked, checked as far as the text alone can tell. No effects."""
