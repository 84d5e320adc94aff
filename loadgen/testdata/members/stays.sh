#!/bin/sh
# A member that neither serves nor ends, whatever its flags.
exec sleep 60
