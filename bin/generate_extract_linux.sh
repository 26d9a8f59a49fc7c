#!/bin/sh
# The original PerformanceTrack's name for writing the two CSV files.
self=$0
[ ! -L "$self" ] || self=$(readlink -f -- "$self")
exec "${self%/*}/perftrack" export "$@"
