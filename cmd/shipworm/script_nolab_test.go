//go:build !lab

package main

const labEnabled = false
