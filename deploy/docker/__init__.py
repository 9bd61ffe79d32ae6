"""The pipeline in containers: the images, the secrets of docker-compose.yml, and the check that it all works."""
