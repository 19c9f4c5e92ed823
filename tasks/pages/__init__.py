"""What single pages and their parts read and show, beside the views of the board and the drawer."""
