"""What is handed in, in every form, as functions of flat tensors."""
