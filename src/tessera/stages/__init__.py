"""One package a stage: each has a `stage.run` and a section of params."""
