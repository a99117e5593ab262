package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// process is one of this machine's, as Linux tells it.
type process struct {
	id, parent int
	cpu, ended int // ticks used by itself, and by its children that have ended
}

// ticks of a second (USER_HZ): the same on all of Go's architectures of Linux.
const ticks = 100

func readProcess(id int) (process, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(id), "stat"))
	if err != nil {
		return process{}, err
	}
	// "id (name) state parent …"; the name may hold anything.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 15 {
		return process{}, fmt.Errorf("process %d: unknown form of its stat", id)
	}
	var numbers [15]int
	for i, f := range fields[1:15] {
		numbers[i+1], _ = strconv.Atoi(f)
	}
	return process{id: id, parent: numbers[1], cpu: numbers[11] + numbers[12], ended: numbers[13] + numbers[14]}, nil
}

// processesOf returns the children of a process.
func processesOf(parent int) ([]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var children []process
	for _, e := range entries {
		id, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if p, err := readProcess(id); err == nil && p.parent == parent {
			children = append(children, p)
		}
	}
	return children, nil
}

// cpuOf is how many seconds of the cores a process and its children have used, or 0 where that is
// not known.
func cpuOf(id int) float64 {
	used := 0
	for range 5 { // a child that ends meanwhile is counted twice or not at all
		before, err := readProcess(id)
		if err != nil {
			return 0
		}
		used = before.cpu + before.ended
		children, _ := processesOf(id)
		for _, c := range children {
			used += c.cpu
		}
		if after, err := readProcess(id); err != nil || after.ended == before.ended {
			break
		}
	}
	return float64(used) / ticks
}
