package trace

import "maps"

// arrange puts hosts and routers in an order in which most packets go from one
// neighbour to the next: the first home with its router on its right, then what
// hangs on the Internet itself, then the other homes with their routers on
// their left.
func (t *Trace) arrange(nodes []string, gateway map[string]string) {
	t.gateway = maps.Clone(gateway)
	behind := make(map[string][]string)
	known := make(map[string]bool)
	for _, n := range nodes {
		known[n] = true
	}
	var tops []string
	for _, n := range nodes {
		if g := gateway[n]; known[g] {
			behind[g] = append(behind[g], n)
		} else {
			tops = append(tops, n)
		}
	}
	done := make(map[string]bool)
	add := func(n string) {
		if !done[n] {
			done[n] = true
			t.Nodes = append(t.Nodes, n)
		}
	}
	// A node is entered once, so that a wrong guess cannot make a loop.
	entered := make(map[string]bool)
	var walk func(n string, first bool)
	walk = func(n string, first bool) {
		if entered[n] {
			return
		}
		entered[n] = true
		if !first {
			add(n)
		}
		for _, b := range behind[n] {
			walk(b, first)
		}
		add(n)
	}
	homes := 0
	for _, n := range tops {
		if len(behind[n]) > 0 {
			if homes == 0 {
				walk(n, true)
			}
			homes++
		}
	}
	for _, n := range tops {
		if len(behind[n]) == 0 {
			add(n)
		}
	}
	for _, n := range tops {
		walk(n, false)
	}
	for _, n := range nodes {
		add(n)
	}
}
