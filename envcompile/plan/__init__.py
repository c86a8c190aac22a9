"""The middle end: Spec and Lock -> Plan. Which base, which files, which layers: every decision, and no text. No effects."""
