"""Files beside the images: parsed, limited, and written again from the parsed values."""
