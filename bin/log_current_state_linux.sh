#!/bin/sh
# The original PerformanceTrack's name for recording one sample.
self=$0
[ ! -L "$self" ] || self=$(readlink -f -- "$self")
exec "${self%/*}/perftrack" record "$@"
