process ESTIMATE_GLOBAL_ILLUMINATION {
    label 'process_medium'
    label 'gpu'

    input:
    tuple path(grids, stageAs: 'given/*'), path(manifests, stageAs: 'given/*')
    val flags

    output:
    path 'published/estimate_global_illumination/global_illumination.npy', emit: light
    path 'published/estimate_global_illumination/global_illumination.json', emit: description
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    estimate_global_illumination.py ${flags} --grids ${grids} --output published/estimate_global_illumination/global_illumination.npy --described_in published/estimate_global_illumination/global_illumination.json
    """

    stub:
    """
    stub.sh published/estimate_global_illumination/global_illumination.npy published/estimate_global_illumination/global_illumination.json estimate_global_illumination.provenance.json
    """
}
