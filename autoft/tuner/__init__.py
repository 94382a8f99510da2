"""The search: its configuration, the policy, the Ray adapters, and the result."""
