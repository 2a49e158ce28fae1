"""What is known of investors and items as of now: the bundle, and what came after its cut."""
