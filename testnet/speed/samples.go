//go:build linux

package main

import (
	"errors"
	"slices"
)

// A series is what one row of the table is made of.
type series struct{ test, path string }

// A point is a value of a round.
type point struct {
	round int
	value float64
}

// A failure is why a round has no value.
type failure struct {
	round int
	err   error
}

// samples holds what came of each series.
type samples struct {
	order  []series
	points map[series][]point
	failed map[series][]failure
}

func (s *samples) note(k series) {
	if s.points == nil {
		s.points, s.failed = map[series][]point{}, map[series][]failure{}
	}
	if !s.has(k) {
		s.order = append(s.order, k)
	}
}

func (s *samples) has(k series) bool { return slices.Contains(s.order, k) }

// A spread is the middle and the ends of a few values.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

func spreadOf(values []float64) spread {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return spread{(v[(n-1)/2] + v[n/2]) / 2, v[0], v[n-1]}
}

// ratio compares two series in the rounds that both have; nil if there is none,
// or in one of them the base is nothing.
func ratio(points, base []point) *spread {
	var v []float64
	for _, p := range points {
		for _, q := range base {
			if p.round != q.round {
				continue
			}
			if q.value <= 0 {
				return nil
			}
			v = append(v, p.value/q.value)
		}
	}
	if v == nil {
		return nil
	}
	s := spreadOf(v)
	return &s
}

func values(points []point) (v []float64) {
	for _, p := range points {
		v = append(v, p.value)
	}
	return v
}

// add notes a value of the present round.
func (b *bench) add(test, path string, v float64) {
	k := series{test, path}
	b.note(k)
	b.points[k] = append(b.points[k], point{b.round, v})
}

// fail notes why the present round has none; what was left out is told once, at
// the head of the report.
func (b *bench) fail(test, path string, err error) {
	if errors.As(err, new(leftOutError)) {
		return
	}
	k := series{test, path}
	b.note(k)
	b.failed[k] = append(b.failed[k], failure{b.round, err})
}
