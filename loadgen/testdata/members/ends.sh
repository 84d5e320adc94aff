#!/bin/sh
# A member that ends by itself, whatever its flags.
echo "no more"
exit 7
