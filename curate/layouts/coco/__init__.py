"""COCO: images and any number of JSON files with annotations."""
