"""What concerns time: optical flow, shots, temporal consistency and its measure."""
