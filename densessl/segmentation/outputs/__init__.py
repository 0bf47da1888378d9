"""What is written: masks, overlays, names, sheets, legend and COCO."""
