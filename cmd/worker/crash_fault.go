//go:build fault

package main

import "github.com/carillon-cron/carillon/test/fault/faults"

func crash() func(point string) { return faults.Crash() }
