"""The middle end: Spec and Lock -> Plan. Bases, files, layers: every decision, and no text. No effects."""
