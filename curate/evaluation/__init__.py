"""Does a detector protect everyone equally? Detections against labelled faces; pure."""
