# The chart of the benchmarks, four panels; report.pl writes the data and calls it with place, out and held (a number).
# A panel whose data have not been measured stays away.
set terminal svg size 1000,640 font "sans-serif,12" background "#ffffff"
set output out
has(file) = system(sprintf("test -s '%s/%s' && echo 1 || echo 0", place, file)) + 0
set multiplot layout 2,2
set style fill solid 0.85 noborder
set border 3 lc rgb "#888888"
set tics nomirror
set grid ytics lt 1 lc rgb "#dddddd"
set yrange [0:*]
set format y "%'.0f"
set key off

set title "No-op jobs per second, durable"
set boxwidth 0.6
if (has("rates")) {
	plot place."/rates" using 0:2:($0 == 1 || $0 == 4 ? 0x2b6cb0 : 0xa0aec0):xtic(1) with boxes lc rgb variable, \
		place."/rates" using 0:2:(sprintf("%.0f", $2)) with labels offset 0,0.6 font ",10"
} else { set multiplot next }

set title "An old snapshot is held: per cent of the rate without"
set xlabel "seconds"
set key outside bottom center horizontal noenhanced font ",10"
set xrange [0:*]
if (held > 0 && has("held0")) {
	plot for [i=0:held-1] place."/held".i using 1:2 with linespoints lw 2 pt 7 ps 0.4 title columnheader(1)
} else { set multiplot next }
set key off

set title "Jobs of 1 ms: per second, by workers"
set xlabel "workers"
if (has("scale")) {
	plot place."/scale" using 1:2 with linespoints lw 2 pt 7 lc rgb "#2b6cb0"
} else { set multiplot next }

set title "Retention of 5 s under load: size of bgjob_internal.job, MB"
set xlabel "seconds"
if (has("size")) {
	plot place."/size" using 1:2 with lines lw 2 lc rgb "#2b6cb0"
} else { set multiplot next }
unset multiplot
