"""What is deployed: functions, versions, aliases, their code and environments, keys; all of it on disk."""
