process ANALYZE_ROTATION_DRIFT {
    label 'process_single'

    input:
    path metrics, stageAs: 'pair?/*'
    path matches
    val flags

    output:
    path 'published/diagnostics/rotation_analysis/*', emit: analysis
    path 'published/diagnostics/rotation_analysis/*.png', emit: pictures
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    analyze_rotation_drift.py ${flags} ${metrics ? "--metrics ${metrics}" : ''} --matches ${matches} --output published/diagnostics/rotation_analysis
    """

    stub:
    """
    stub.sh published/diagnostics/rotation_analysis/rotation_drift.csv published/diagnostics/rotation_analysis/rotation_drift.png analyze_rotation_drift.provenance.json
    """
}
