process ANALYZE_ACQUISITION_ROTATION {
    label 'process_single'

    input:
    path common_space
    path metrics, stageAs: 'pair?/*'
    val flags

    output:
    path 'published/diagnostics/acquisition_rotation/*', emit: analysis
    path 'published/diagnostics/acquisition_rotation/*.png', emit: pictures
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    analyze_acquisition_rotation.py ${flags} --common_space ${common_space} ${metrics ? "--metrics ${metrics}" : ''} --output published/diagnostics/acquisition_rotation
    """

    stub:
    """
    stub.sh published/diagnostics/acquisition_rotation/acquisition_rotation.csv published/diagnostics/acquisition_rotation/acquisition_rotation.png analyze_acquisition_rotation.provenance.json
    """
}
