"""gRPC servers and clients as every service uses them."""
