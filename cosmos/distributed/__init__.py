"""The processes of one job: their ranks as a launcher exports them, their group, and what they exchange."""
