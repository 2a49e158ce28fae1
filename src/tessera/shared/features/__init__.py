"""As-of facts shared by batch and serving: attribution, joins that never look ahead, prices."""
