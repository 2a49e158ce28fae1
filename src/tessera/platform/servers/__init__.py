"""What starts servers on this machine and stops them: Airflow alone, or a cluster on loopback."""
