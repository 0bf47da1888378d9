"""Where images come from, which views a method asks for, how they are made, and generated scenes and pages."""
