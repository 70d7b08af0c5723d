"""What concerns time: optical flow, shots, steadiness and its measure."""
