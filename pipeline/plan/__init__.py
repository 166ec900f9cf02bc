"""`outbound plan`: what a run will need and how long it will take, before a job is submitted."""
