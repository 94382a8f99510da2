"""autoft finds the best fine-tuning recipe for a pretrained model."""
