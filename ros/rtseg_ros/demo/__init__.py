"""The live demo: player, node and recorder over DDS, and what is made of their recording."""
