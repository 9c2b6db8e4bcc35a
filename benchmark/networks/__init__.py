"""Networks: how they are built, where their weights come from, and the device they run on."""
