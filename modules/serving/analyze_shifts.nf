process ANALYZE_SHIFTS {
    label 'process_single'

    input:
    path shifts_xy
    val flags

    output:
    path 'published/analyze_shifts/*', emit: analysis
    path 'published/analyze_shifts/*.png', emit: pictures
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    analyze_shifts.py ${flags} --shifts_xy ${shifts_xy} --output published/analyze_shifts
    """

    stub:
    """
    stub.sh published/analyze_shifts/shifts_analysis.txt published/analyze_shifts/drift.png analyze_shifts.provenance.json
    """
}
