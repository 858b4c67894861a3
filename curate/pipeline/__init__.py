"""The main job and what runs over a dataset share: blur, detect, verify, replay."""
